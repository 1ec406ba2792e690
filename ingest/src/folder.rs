//! Which names does a loss of power leave?
//!
//! A file's name is in its folder, and a folder's in the one above: each is there for good once the folder that it is in
//! was synced, however often the file itself was. Who makes a folder and syncs only what is in it may lose it as a whole.

use std::fs::{DirBuilder, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// Makes a folder and all above it, each for good, with these permissions (as in `0o700`, less what the process masks)
/// where they are missing. One that is there already is made sure of, too: whoever made it may have been killed before.
///
/// # Errors
/// When one can't be made, or is a file. A folder above that this process may not read isn't its own to sync, and no error.
pub fn make_folder(path: &Path, mode: u32) -> io::Result<()> {
    let mut above = Vec::new();
    let mut at = path;
    loop {
        // The folder above a relative path's first part is where the process was started.
        let parent = match at.parent() {
            Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
            Some(parent) => parent,
            None => break,
        };
        above.push(parent);
        if parent.is_dir() {
            break;
        }
        at = parent;
    }
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(mode).create(path)?;
    for folder in above {
        match sync_folder(folder) {
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {}
            synced => synced?,
        }
    }
    Ok(())
}

/// Makes the names in a folder safe.
///
/// # Errors
/// When it can't be read or synced.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn folders_are_made_from_where_we_are() {
        let folder = tempfile::tempdir_in(".").expect("a folder");
        let name = folder.path().file_name().expect("it has one");
        // Relative, as people write it.
        let path = Path::new(name).join("a").join("b");
        for _ in 0..2 {
            make_folder(&path, 0o700).expect("made, or there already");
            let made = fs::metadata(&path).expect("it is there");
            assert!(made.is_dir());
            assert_eq!(made.permissions().mode() & 0o777, 0o700);
        }
        make_folder(Path::new(name), 0o700).expect("there already");
        fs::write(path.join("file"), "").expect("written");
        let error = make_folder(&path.join("file"), 0o700).expect_err("it is a file");
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    }
}
