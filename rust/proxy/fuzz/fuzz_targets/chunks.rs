#![no_main]

// The first byte says how the rest is cut.
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let [size, rest @ ..] = data {
        trimaran_proxy::fuzzing::chunks(rest, || usize::from(*size));
    }
});
