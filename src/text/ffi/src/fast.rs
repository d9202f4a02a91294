//! The encoder for the one form of tokenizer that the model family ships: NFC, a split by one
//! regex, the byte-level alphabet, BPE. It makes the same calls to the same regex engine and the
//! same model as the library's own pipeline, without that one's bookkeeping of where each character
//! came from, which costs most of the time. Other forms take the library's pipeline.

use onig::{MatchParam, Regex, Region, SearchOptions};
use serde_json::Value;
use tokenizers::tokenizer::Model;
use unicode_normalization_alignments::UnicodeNormalization;

use crate::tokenizer::{byte_level_alphabet, Listing};

/// A single piece of text that needs more is refused: the regex engine keeps a stack as long as a
/// run of capital letters, at some 50 bytes each.
const MAX_MATCH_STACK: u32 = 4 << 20;

pub struct FastEncoder {
    regex: Regex,
    is_nfc: bool,
    alphabet: Vec<char>, // by byte
    added: Vec<(String, u32)>,
    starts_added: [bool; 256],
}

impl FastEncoder {
    /// None when the tokenizer has another form.
    pub fn new(listing: &Listing) -> Option<Self> {
        let is_nfc = match &listing.normalizer {
            Value::Null => false,
            normalizer if normalizer["type"] == "NFC" => true,
            _ => return None,
        };
        let steps = match &listing.pre_tokenizer {
            sequence if sequence["type"] == "Sequence" => sequence["pretokenizers"].as_array()?,
            _ => return None,
        };
        let [split, byte_level] = steps.as_slice() else {
            return None;
        };
        // Matches are kept, what lies between them is dropped.
        let is_split =
            split["type"] == "Split" && split["behavior"] == "Removed" && split["invert"] == true;
        let is_byte_level = byte_level["type"] == "ByteLevel"
            && byte_level["add_prefix_space"] == false
            && byte_level["use_regex"] == false;
        let has_plain_tokens = listing
            .added_tokens
            .iter()
            .all(|token| !(token.single_word || token.lstrip || token.rstrip || token.normalized));
        if !(is_split && is_byte_level && has_plain_tokens) {
            return None;
        }
        let mut added: Vec<(String, u32)> = listing
            .added_tokens
            .iter()
            .filter(|token| !token.content.is_empty())
            .map(|token| (token.content.clone(), token.id))
            .collect();
        // The longest that fits wins.
        added.sort_by_key(|(content, _)| std::cmp::Reverse(content.len()));
        let mut starts_added = [false; 256];
        for (content, _) in &added {
            starts_added[content.as_bytes()[0] as usize] = true;
        }
        Some(FastEncoder {
            regex: Regex::new(split["pattern"]["Regex"].as_str()?).ok()?,
            is_nfc,
            alphabet: byte_level_alphabet(),
            added,
            starts_added,
        })
    }

    pub fn encode(
        &self,
        text: &str,
        parse_added: bool,
        model: &impl Model,
    ) -> Result<Vec<u32>, String> {
        let mut ids = Vec::with_capacity(text.len() / 3);
        if !parse_added {
            self.encode_plain(text, model, &mut ids)?;
            return Ok(ids);
        }
        let mut plain_begin = 0;
        let mut position = 0;
        while position < text.len() {
            let Some((content, id)) = self.added_at(text, position) else {
                position += 1;
                continue;
            };
            self.encode_plain(&text[plain_begin..position], model, &mut ids)?;
            ids.push(*id);
            position += content.len();
            plain_begin = position;
        }
        self.encode_plain(&text[plain_begin..], model, &mut ids)?;
        Ok(ids)
    }

    fn added_at(&self, text: &str, position: usize) -> Option<&(String, u32)> {
        let rest = &text.as_bytes()[position..];
        if !self.starts_added[rest[0] as usize] {
            return None;
        }
        self.added
            .iter()
            .find(|(content, _)| rest.starts_with(content.as_bytes()))
    }

    fn encode_plain(
        &self,
        text: &str,
        model: &impl Model,
        ids: &mut Vec<u32>,
    ) -> Result<(), String> {
        let normalized: String;
        let mut text = text;
        if self.is_nfc && !text.is_ascii() {
            normalized = text.nfc().map(|(c, _)| c).collect();
            text = &normalized;
        }
        let mut region = Region::new();
        let mut spelled = String::new();
        let mut position = 0;
        while position < text.len() {
            let Some((begin, end)) = self.find(text, position, &mut region)? else {
                break;
            };
            if begin == end {
                // An empty match: on to the next character.
                position = end + text[end..].chars().next().map_or(1, char::len_utf8);
                continue;
            }
            spelled.clear();
            spelled.extend(
                text.as_bytes()[begin..end]
                    .iter()
                    .map(|&byte| self.alphabet[byte as usize]),
            );
            let tokens = model
                .tokenize(&spelled)
                .map_err(|error| error.to_string())?;
            ids.extend(tokens.iter().map(|token| token.id));
            position = end;
        }
        Ok(())
    }

    fn find(
        &self,
        text: &str,
        from: usize,
        region: &mut Region,
    ) -> Result<Option<(usize, usize)>, String> {
        region.clear();
        let mut limits = MatchParam::default();
        limits.set_match_stack_limit(MAX_MATCH_STACK);
        let options = SearchOptions::SEARCH_OPTION_NONE;
        let found = self
            .regex
            .search_with_param(text, from, text.len(), options, Some(region), limits)
            .map_err(|_| {
                format!(
                    "the text around byte {from} has no word boundary for too long; \
                     it cannot be split into words"
                )
            })?;
        Ok(found.and_then(|_| region.pos(0)))
    }
}
