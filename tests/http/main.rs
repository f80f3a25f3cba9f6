//! The HTTP contract, over the router and over a socket, over the test world.

mod api;
mod asking;
mod health;
mod loops;
mod webhooks;
mod world;
