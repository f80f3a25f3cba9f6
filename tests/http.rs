//! The HTTP API, over the router and over a socket, with in-memory ports.

#[path = "http/api.rs"]
mod api;
#[path = "http/asking.rs"]
mod asking;
#[path = "http/fakes.rs"]
mod fakes;
#[path = "http/health.rs"]
mod health;
#[path = "http/loops.rs"]
mod loops;
#[path = "http/webhooks.rs"]
mod webhooks;
