//! `man`: the pages of the manual.

use std::path::Path;

use clap::CommandFactory as _;

use super::args::Cli;
use super::failure::{Failure, out};

/// Writes a page of the manual for each command into a folder.
pub(super) fn man(folder: &Path) -> Result<(), Failure> {
    let failed = |error: std::io::Error| {
        Failure::failed(format!("cannot write to {}: {error}", folder.display()))
            .hint("name a folder that may be written")
    };
    std::fs::create_dir_all(folder).map_err(failed)?;
    let mut root = Cli::command();
    root.build();
    clap_mangen::generate_to(root, folder).map_err(failed)?;
    let shown = folder.display();
    out(&format!("wrote the pages; read the first with `man -l {shown}/tinqs-ci.1`\n"))
}
