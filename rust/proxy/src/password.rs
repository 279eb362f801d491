//! Passwords against the hashes of an htpasswd file.

use crate::access::base64;
use md5::{Digest, Md5};
use sha1::Sha1;
use std::ffi::{CStr, CString};
use std::sync::{Mutex, PoisonError};

pub fn matches(password: &[u8], hash: &[u8]) -> bool {
    if let Some(plain) = hash.strip_prefix(b"{PLAIN}") {
        return same(plain, password);
    }
    if let Some(text) = hash.strip_prefix(b"{SHA}") {
        return base64(text).is_some_and(|digest| same(&digest, &Sha1::digest(password)));
    }
    if let Some(text) = hash.strip_prefix(b"{SSHA}") {
        return base64(text).is_some_and(|whole| {
            let Some((digest, salt)) = whole.split_at_checked(20) else {
                return false;
            };
            let made = Sha1::new().chain_update(password).chain_update(salt);
            same(digest, &made.finalize())
        });
    }
    if let Some(rest) = hash.strip_prefix(b"$apr1$") {
        let salt = rest.split(|byte| *byte == b'$').next().unwrap_or_default();
        return same(&apr1(password, &salt[..salt.len().min(8)]), hash);
    }
    let (Ok(key), Ok(salt)) = (CString::new(password), CString::new(hash)) else {
        return false;
    };
    crypt(&key, &salt).is_some_and(|made| same(&made, hash))
}

/// In a time that does not tell where they differ.
fn same(left: &[u8], right: &[u8]) -> bool {
    let differs = left.iter().zip(right).fold(0, |sum, (a, b)| sum | (a ^ b));
    left.len() == right.len() && differs == 0
}

/// The C library's crypt(3), one at a time: its result is in memory of its own.
fn crypt(key: &CString, salt: &CString) -> Option<Vec<u8>> {
    #[link(name = "crypt")]
    extern "C" {
        fn crypt(key: *const libc::c_char, salt: *const libc::c_char) -> *const libc::c_char;
    }
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let made = unsafe { crypt(key.as_ptr(), salt.as_ptr()) };
    if made.is_null() {
        return None;
    }
    Some(unsafe { CStr::from_ptr(made) }.to_bytes().to_vec())
}

/// Apache's own MD5, the default of `htpasswd`.
fn apr1(password: &[u8], salt: &[u8]) -> Vec<u8> {
    let inner = Md5::new().chain_update(password).chain_update(salt);
    let inner = inner.chain_update(password).finalize();
    let mut first = Md5::new();
    first.update(password);
    first.update(b"$apr1$");
    first.update(salt);
    for at in (0..password.len()).step_by(16) {
        first.update(&inner[..(password.len() - at).min(16)]);
    }
    let mut length = password.len();
    while length > 0 {
        let byte = if length & 1 == 1 { 0 } else { password[0] };
        first.update([byte]);
        length >>= 1;
    }
    let mut digest = first.finalize();
    for round in 0..1000 {
        let mut next = Md5::new();
        let odd = round % 2 == 1;
        next.update(if odd { password } else { &digest[..] });
        if round % 3 != 0 {
            next.update(salt);
        }
        if round % 7 != 0 {
            next.update(password);
        }
        next.update(if odd { &digest[..] } else { password });
        digest = next.finalize();
    }
    let mut out = b"$apr1$".to_vec();
    out.extend_from_slice(salt);
    out.push(b'$');
    for [a, b, c] in [[0, 6, 12], [1, 7, 13], [2, 8, 14], [3, 9, 15], [4, 10, 5]] {
        let bits = u32::from(digest[a]) << 16 | u32::from(digest[b]) << 8 | u32::from(digest[c]);
        put_64(bits, 4, &mut out);
    }
    put_64(u32::from(digest[11]), 2, &mut out);
    out
}

/// crypt's own alphabet, lowest bits first.
fn put_64(mut bits: u32, count: usize, out: &mut Vec<u8>) {
    const LETTERS: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    for _ in 0..count {
        out.push(LETTERS[(bits & 63) as usize]);
        bits >>= 6;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_hash_is_checked() {
        let hashes: [&[u8]; 4] = [
            b"$apr1$salt$Xxd1irWT9ycqoYxGFn4cb.",
            b"{PLAIN}password",
            b"{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=",
            b"{SSHA}yI6cZwQadOA1e+/f+T+H3eCQQhRzYWx0",
        ];
        for hash in hashes {
            assert!(matches(b"password", hash) && !matches(b"Password", hash));
        }
        for broken in [&b"$apr1$"[..], b"{SSHA}Zm9vCg==", b"{SHA}", b"", b"$1$"] {
            assert!(!matches(b"password", broken) && !matches(b"", broken));
        }
    }
}
