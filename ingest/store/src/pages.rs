//! May a page be decoded? Anybody may have written it.
//!
//! The `parquet` crate makes room for as many values as a page says it has, before it looks at them: a dictionary of a
//! few bytes that says two thousand millions would end the process, which no error handling prevents. So what a page
//! says is held against its bytes first. Of two encodings of text the number is inside the encoded bytes; nobody who
//! writes our schema needs them, and pages in them are refused.

use parquet::basic::Encoding;
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::errors::{ParquetError, Result};

/// The bytes that any value of a dictionary takes at least: an `INT32`, or the length of a text.
const LEAST_BYTES: u64 = 4;

/// Another reader's pages, as long as they may be decoded.
pub(crate) struct CheckedPages<P>(pub(crate) P);

fn checked(page: Page) -> Result<Page> {
    match &page {
        Page::DictionaryPage {
            buf, num_values, ..
        } if u64::from(*num_values) * LEAST_BYTES > buf.len() as u64 => {
            Err(ParquetError::General(format!(
                "a dictionary of {num_values} values has {} bytes",
                buf.len()
            )))
        }
        Page::DataPage { encoding, .. } | Page::DataPageV2 { encoding, .. }
            if matches!(
                encoding,
                Encoding::DELTA_LENGTH_BYTE_ARRAY | Encoding::DELTA_BYTE_ARRAY
            ) =>
        {
            Err(ParquetError::NYI(format!("texts in {encoding}")))
        }
        _ => Ok(page),
    }
}

impl<P: PageReader> Iterator for CheckedPages<P> {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

impl<P: PageReader> PageReader for CheckedPages<P> {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        self.0.get_next_page()?.map(checked).transpose()
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        self.0.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<()> {
        self.0.skip_next_page()
    }

    fn supports_deferred_dictionary(&self) -> bool {
        self.0.supports_deferred_dictionary()
    }

    fn take_deferred_dictionary(&mut self) -> Result<Option<Page>> {
        self.0.take_deferred_dictionary()?.map(checked).transpose()
    }

    fn at_record_boundary(&mut self) -> Result<bool> {
        self.0.at_record_boundary()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_page_says_is_held_against_its_bytes() {
        let dictionary = |num_values, bytes| Page::DictionaryPage {
            buf: vec![0; bytes].into(),
            num_values,
            encoding: Encoding::PLAIN,
            is_sorted: false,
        };
        let data = |encoding| Page::DataPage {
            buf: vec![0; 8].into(),
            // Equal values take next to nothing, however many there are.
            num_values: u32::MAX,
            encoding,
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        };
        for (page, is_fine) in [
            (dictionary(0, 0), true),
            (dictionary(2, 8), true),
            (dictionary(2, 7), false),
            (dictionary(u32::MAX, 4096), false),
            (data(Encoding::PLAIN), true),
            (data(Encoding::RLE_DICTIONARY), true),
            (data(Encoding::DELTA_BINARY_PACKED), true),
            (data(Encoding::DELTA_LENGTH_BYTE_ARRAY), false),
            (data(Encoding::DELTA_BYTE_ARRAY), false),
        ] {
            let what = format!("{:?} {:?}", page.page_type(), page.encoding());
            assert_eq!(checked(page).is_ok(), is_fine, "{what}");
        }
    }
}
