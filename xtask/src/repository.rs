//! Where the repository is, and what its manifests say of features.

use std::path::{Path, PathBuf};

/// The root of the checkout: of the one `cargo xtask` was called in, else the one this was built
/// in.
pub(crate) fn root() -> PathBuf {
    let manifest_dir = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    manifest_dir.parent().expect("xtask lies in the repository's root").to_owned()
}

/// The build directory of this checkout, where cargo puts what it builds.
pub(crate) fn target_dir(root: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |dir| root.join(dir))
}
