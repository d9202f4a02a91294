//! The exported functions. Everything here converts and guards; the work is in the other modules.

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::ptr;

use crate::template::{Options, RenderError, Template};
use crate::tokenizer::Tokenizer;

const M2_OK: i32 = 0;
const M2_INVALID: i32 = 1;
const M2_TOO_LARGE: i32 = 2;
const M2_FAULT: i32 = 3;

#[repr(C)]
#[derive(Clone, Copy)]
pub struct M2Slice {
    data: *const u8,
    size: usize,
}

impl M2Slice {
    /// # Safety
    /// `data` points to `size` readable bytes that outlive the call.
    unsafe fn bytes<'a>(self) -> &'a [u8] {
        if self.size == 0 {
            return &[];
        }
        std::slice::from_raw_parts(self.data, self.size)
    }

    /// # Safety
    /// As `bytes`.
    unsafe fn text<'a>(self, what: &str) -> Result<&'a str, Failure> {
        std::str::from_utf8(self.bytes())
            .map_err(|_| Failure::invalid(format!("{what} is not UTF-8")))
    }
}

macro_rules! owned_array {
    ($name:ident, $element:ty, $free:ident) => {
        #[repr(C)]
        pub struct $name {
            data: *mut $element,
            size: usize,
            capacity: usize,
        }

        impl From<Vec<$element>> for $name {
            fn from(values: Vec<$element>) -> Self {
                let mut values = std::mem::ManuallyDrop::new(values);
                $name {
                    data: values.as_mut_ptr(),
                    size: values.len(),
                    capacity: values.capacity(),
                }
            }
        }

        /// # Safety
        /// `array` came from this library and is freed once; a zeroed one is let be.
        #[no_mangle]
        pub unsafe extern "C" fn $free(array: $name) {
            if !array.data.is_null() {
                drop(Vec::from_raw_parts(array.data, array.size, array.capacity));
            }
        }
    };
}
owned_array!(M2Buffer, u8, m2_buffer_free);
owned_array!(M2Ids, u32, m2_ids_free);

#[repr(C)]
pub struct M2Vocabulary {
    size: usize,
    bytes: *const u8,
    byte_offsets: *const u32,
    strings: *const u8,
    string_offsets: *const u32,
    flags: *const u8,
}

#[repr(C)]
pub struct M2TemplateOptions {
    fuel: u64,
    max_output_bytes: usize,
    first_mark: u32,
}

struct Failure {
    code: i32,
    message: String,
}

impl Failure {
    fn invalid(message: String) -> Self {
        Failure {
            code: M2_INVALID,
            message,
        }
    }
}

/// Runs `work`; writes its result to `out`, or its message to `error`. A panic becomes M2_FAULT.
///
/// # Safety
/// `out` and `error` are valid for writes.
unsafe fn guard<T>(
    out: *mut T,
    error: *mut M2Buffer,
    work: impl FnOnce() -> Result<T, Failure>,
) -> i32 {
    let failure = match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(value)) => {
            ptr::write(out, value);
            return M2_OK;
        }
        Ok(Err(failure)) => failure,
        Err(panic) => {
            let message = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("panic")
                .to_owned();
            Failure {
                code: M2_FAULT,
                message,
            }
        }
    };
    ptr::write(error, M2Buffer::from(failure.message.into_bytes()));
    failure.code
}

/// # Safety
/// `json` is readable; `out` and `error` are writable.
#[no_mangle]
pub unsafe extern "C" fn m2_tokenizer_load(
    json: M2Slice,
    out: *mut *mut Tokenizer,
    error: *mut M2Buffer,
) -> i32 {
    guard(out, error, || {
        let tokenizer = Tokenizer::load(json.bytes()).map_err(Failure::invalid)?;
        Ok(Box::into_raw(Box::new(tokenizer)))
    })
}

/// # Safety
/// `tokenizer` came from `m2_tokenizer_load` and is freed once.
#[no_mangle]
pub unsafe extern "C" fn m2_tokenizer_free(tokenizer: *mut Tokenizer) {
    if !tokenizer.is_null() {
        drop(Box::from_raw(tokenizer));
    }
}

/// # Safety
/// `tokenizer` is live; `out` is writable.
#[no_mangle]
pub unsafe extern "C" fn m2_tokenizer_vocabulary(
    tokenizer: *const Tokenizer,
    out: *mut M2Vocabulary,
) {
    let tables = (*tokenizer).tables();
    ptr::write(
        out,
        M2Vocabulary {
            size: tables.flags.len(),
            bytes: tables.bytes.data.as_ptr(),
            byte_offsets: tables.bytes.offsets.as_ptr(),
            strings: tables.strings.data.as_ptr(),
            string_offsets: tables.strings.offsets.as_ptr(),
            flags: tables.flags.as_ptr(),
        },
    );
}

/// # Safety
/// `tokenizer` is live; `token` is readable.
#[no_mangle]
pub unsafe extern "C" fn m2_tokenizer_token_id(tokenizer: *const Tokenizer, token: M2Slice) -> i32 {
    match token.text("token") {
        Ok(token) => (*tokenizer).token_id(token).map_or(-1, |id| id as i32),
        Err(_) => -1,
    }
}

/// # Safety
/// `tokenizer` is live; `text` is readable; `out` and `error` are writable.
#[no_mangle]
pub unsafe extern "C" fn m2_tokenizer_encode(
    tokenizer: *const Tokenizer,
    text: M2Slice,
    parse_added: i32,
    out: *mut M2Ids,
    error: *mut M2Buffer,
) -> i32 {
    guard(out, error, || {
        let ids = (*tokenizer)
            .encode(text.text("text")?, parse_added != 0)
            .map_err(Failure::invalid)?;
        Ok(M2Ids::from(ids))
    })
}

/// # Safety
/// `name`, `source` and `options` are readable; `out` and `error` are writable.
#[no_mangle]
pub unsafe extern "C" fn m2_template_load(
    name: M2Slice,
    source: M2Slice,
    options: *const M2TemplateOptions,
    out: *mut *mut Template,
    error: *mut M2Buffer,
) -> i32 {
    guard(out, error, || {
        let options = Options {
            fuel: (*options).fuel,
            max_output_bytes: (*options).max_output_bytes,
            first_mark: char::from_u32((*options).first_mark).filter(|&mark| mark != '\0'),
        };
        let template = Template::load(
            name.text("the template's name")?,
            source.text("the template")?,
            options,
        )
        .map_err(Failure::invalid)?;
        Ok(Box::into_raw(Box::new(template)))
    })
}

/// # Safety
/// `template` came from `m2_template_load` and is freed once.
#[no_mangle]
pub unsafe extern "C" fn m2_template_free(template: *mut Template) {
    if !template.is_null() {
        drop(Box::from_raw(template));
    }
}

/// # Safety
/// `template` is live; `context` is readable; `out` and `error` are writable.
#[no_mangle]
pub unsafe extern "C" fn m2_template_render(
    template: *const Template,
    context: M2Slice,
    out: *mut M2Buffer,
    error: *mut M2Buffer,
) -> i32 {
    guard(out, error, || {
        let text = (*template)
            .render(context.bytes())
            .map_err(|error| match error {
                RenderError::Invalid(message) => Failure::invalid(message),
                RenderError::TooLarge(message) => Failure {
                    code: M2_TOO_LARGE,
                    message,
                },
            })?;
        Ok(M2Buffer::from(text.into_bytes()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn empty() -> M2Buffer {
        M2Buffer {
            data: ptr::null_mut(),
            size: 0,
            capacity: 0,
        }
    }

    #[test]
    fn a_panic_becomes_a_code() {
        let mut out = 0;
        let mut error = empty();
        // SAFETY: both pointers are to live locals.
        let code = unsafe { guard(&mut out, &mut error, || panic!("on purpose {}", 1)) };
        assert_eq!(code, M2_FAULT);
        // SAFETY: `error` was filled by guard.
        unsafe {
            let text = std::slice::from_raw_parts(error.data, error.size);
            assert_eq!(text, b"on purpose 1");
            m2_buffer_free(error);
            m2_buffer_free(empty());
        }
    }
}
