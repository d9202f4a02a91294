//! `strftime_now`: the local time, formatted by the C library as Python's `datetime` does.

use std::ffi::CString;

/// Formats the current local time. A format that is empty, too long or holds a NUL gives "".
pub fn strftime_now(format: &str) -> String {
    let Ok(format) = CString::new(format) else {
        return String::new();
    };
    let mut buffer = vec![0u8; 512];
    // SAFETY: all pointers are to live locals; strftime writes at most the size it is given.
    let written = unsafe {
        let now = libc::time(std::ptr::null_mut());
        let mut fields: libc::tm = std::mem::zeroed();
        if libc::localtime_r(&now, &mut fields).is_null() {
            return String::new();
        }
        libc::strftime(
            buffer.as_mut_ptr().cast(),
            buffer.len(),
            format.as_ptr(),
            &fields,
        )
    };
    buffer.truncate(written);
    String::from_utf8_lossy(&buffer).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_a_date() {
        let year: i32 = strftime_now("%Y").parse().unwrap();
        assert!(year >= 2025);
        assert_eq!(strftime_now("%d %b %Y").len(), 11);
        assert_eq!(strftime_now(""), "");
        assert_eq!(strftime_now("a\0b"), "");
        assert_eq!(strftime_now(&"%Y".repeat(1000)), "");
    }
}
