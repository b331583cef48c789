#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| farthing_fuzz::translation::reply(input));
