//! The HTTP API, over the router and over a socket, with the ports of the test world.

mod actions;
mod agree;
mod api;
mod asking;
mod budget;
mod canceled;
mod doors;
mod drift;
mod events;
mod flapping;
mod health;
mod logs;
mod loops;
mod openapi;
mod page;
mod pauses;
mod reload;
mod sign_in;
mod status;
mod tls;
mod usage;
mod webhooks;
mod why;
mod world;
