//! What a provider answered, in terms that no wire format owns.

pub mod usage;
