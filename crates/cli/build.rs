//! Puts the sample projects into the binary, so that `kiln quickstart` needs nothing beside it.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let root =
        Path::new(&env::var("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("../../samples");
    println!("cargo::rerun-if-changed={}", root.display());
    let mut files = Vec::new();
    collect(&root, &mut files)?;
    files.sort();
    let mut code = String::from(
        "/// The sample projects: path below `samples`, content.\nstatic SAMPLES: &[(&str, &[u8])] = &[\n",
    );
    for file in files {
        let name =
            file.strip_prefix(&root).expect("below the root").to_string_lossy().replace('\\', "/");
        let path = file.canonicalize()?;
        writeln!(code, "    ({name:?}, include_bytes!({:?})),", path.display().to_string())
            .expect("strings take writes");
    }
    code.push_str("];\n");
    let out = env::var_os("OUT_DIR").expect("cargo sets it");
    fs::write(Path::new(&out).join("samples.rs"), code)
}

/// Sources, headers and build files below a folder.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let extension = path.extension().and_then(|e| e.to_str());
        if path.is_dir() {
            collect(&path, files)?;
        } else if matches!(extension, Some("cpp" | "h" | "hpp")) || path.ends_with("CMakeLists.txt")
        {
            files.push(path);
        }
    }
    Ok(())
}
