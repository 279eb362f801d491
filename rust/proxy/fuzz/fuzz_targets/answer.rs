#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    trimaran_proxy::fuzzing::answer(data, data.len() % 2 == 0);
});
