//! Ceilings on what is spent, and bounds on how fast: the terms, and the sums that they are held against.
//!
//! Pure: terms, moments and amounts come in; holds, refusals and who may go on come out. Nothing waits, reads a clock or
//! writes here. Who asks for money, when, and what a client is told is the hallway's (`gateway/hold`); what of it was
//! spent is the meter's.

mod account;
pub mod books;
pub mod pace;
pub mod period;
pub mod terms;

pub use books::{Answer, Ask, Books, Charge, HoldId, News, Payer, Short, Ticket, What};
pub use terms::{Budget, Every, Limits, Terms, WhenNear};
