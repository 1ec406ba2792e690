//! Where do the bytes of a Parquet file come from?

use std::fs::File;
use std::io::Read;

use bytes::{Buf, Bytes};
use parquet::errors::Result;
use parquet::file::reader::{ChunkReader, Length};

/// A file, wherever it lies.
#[derive(Debug)]
pub(crate) enum Source {
    /// On a disk.
    File(File),
    /// In memory.
    Memory(Bytes),
    /// In a bucket.
    #[cfg(feature = "s3")]
    Object(crate::bucket::Object),
}

impl Length for Source {
    fn len(&self) -> u64 {
        match self {
            Self::File(file) => Length::len(file),
            Self::Memory(bytes) => bytes.len() as u64,
            #[cfg(feature = "s3")]
            Self::Object(object) => object.bytes(),
        }
    }
}

impl ChunkReader for Source {
    type T = Box<dyn Read>;

    fn get_read(&self, start: u64) -> Result<Self::T> {
        Ok(match self {
            Self::File(file) => Box::new(file.get_read(start)?),
            Self::Memory(bytes) => Box::new(ChunkReader::get_read(bytes, start)?),
            #[cfg(feature = "s3")]
            Self::Object(object) => Box::new(object.read_from(start)),
        })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        match self {
            Self::File(file) => file.get_bytes(start, length),
            // Not the bytes' own, which panics at what lies behind their end, as a damaged footer may say.
            Self::Memory(bytes) => {
                let start = usize::try_from(start).unwrap_or(usize::MAX);
                let end = start.saturating_add(length);
                if end > bytes.len() {
                    return Err(parquet::errors::ParquetError::EOF(format!(
                        "expected {length} bytes at {start}, and there are {}",
                        bytes.len()
                    )));
                }
                let mut bytes = bytes.slice(start..end);
                Ok(bytes.copy_to_bytes(length))
            }
            #[cfg(feature = "s3")]
            Self::Object(object) => object.range(start, length),
        }
    }
}
