#![no_main]
libfuzzer_sys::fuzz_target!(|input: &[u8]| milena_fuzz::run(input));
