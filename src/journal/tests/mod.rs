//! The reading half, on segments that were built by hand.

mod build;
mod golden;
mod memory;
mod reading;
mod recovering;
mod salvaging;
