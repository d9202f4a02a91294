//! The libraries that m2's text layer takes from Rust, behind the C ABI of `m2_text_ffi.h`.
//!
//! `tokenizer` wraps Hugging Face tokenizers, `template` runs chat templates in minijinja the way
//! transformers runs them in Jinja2. `abi` is the only module with unsafe code besides `clock`.

pub mod abi;
mod clock;
mod fast;
pub mod python;
pub mod template;
#[cfg(test)]
mod template_test;
pub mod tokenizer;
pub mod tree;
