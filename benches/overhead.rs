//! What Farthing costs a request, against a bare proxy in the same run.

fn main() {}
