//! The service in a world that heals or doesn't, in virtual time.

mod crash;
mod grow;
mod held;
mod kinds;
mod person;
mod property;
mod rejuvenation;
mod story;
mod together;
mod world;
