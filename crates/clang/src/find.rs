//! Where a libclang may be installed.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::library::{Library, LoadError, OLDEST};

/// The first file that may be libclang, can be loaded, is new enough and has every function that is needed, of:
/// `LIBCLANG_PATH` (the file or its folder), the PyPI wheel of an active virtual environment, LLVM's folders and the
/// system's, newest first, and the wheel of the `python3` on `PATH`.
pub fn find() -> Option<Library> {
    // Asking Python takes longer than all the rest, so it comes last, and only where nothing else was found.
    let places: [fn() -> Vec<PathBuf>; 4] =
        [named, wheel_of_environment, system_libraries, wheel_of_python];
    places
        .into_iter()
        .flat_map(|candidates| candidates())
        .find_map(|path| Library::load(&path).ok())
}

/// The first usable libclang in `folder`: directly, or where an installation of LLVM, a Python environment or an
/// unpacked wheel keeps it. The error is that of the last file that is called like one.
pub fn find_in(folder: &Path) -> Result<Library, LoadError> {
    let mut result = Err(LoadError::Open {
        path: folder.to_path_buf(),
        detail: "no libclang in this folder".to_string(),
    });
    for path in below(folder) {
        result = Library::load(&path);
        if result.is_ok() {
            break;
        }
    }
    result
}

/// Files called like libclang in the places below `folder` where they are usual.
fn below(folder: &Path) -> Vec<PathBuf> {
    let mut found = libraries_in(folder);
    for usual in ["native", "clang/native", "lib", "lib64"] {
        found.extend(libraries_in(&folder.join(usual)));
    }
    found.extend(wheels_under(&folder.join("lib")));
    // `NAME.data/platlib` is where a wheel's archive has what goes to the packages' folder.
    let mut parts = entries(folder);
    parts.sort();
    found.extend(parts.into_iter().flat_map(|part| wheel_in(&part.join("platlib"))));
    found
}

fn named() -> Vec<PathBuf> {
    match env::var_os("LIBCLANG_PATH").map(PathBuf::from) {
        Some(path) if path.is_dir() => below(&path),
        path => path.into_iter().collect(),
    }
}

fn wheel_of_environment() -> Vec<PathBuf> {
    let active = ["VIRTUAL_ENV", "CONDA_PREFIX"].into_iter().filter_map(env::var_os);
    active.flat_map(|environment| wheels_under(&Path::new(&environment).join("lib"))).collect()
}

fn system_libraries() -> Vec<PathBuf> {
    let mut found = versioned_libraries();
    found.sort_by_key(|(version, path)| (std::cmp::Reverse(*version), path.clone()));
    found.into_iter().map(|(_, path)| path).collect()
}

/// Folders of libraries, with the version where the folder's name says it.
fn versioned_libraries() -> Vec<(u32, PathBuf)> {
    let mut found = Vec::new();
    for folder in ["/usr/lib", "/usr/local/lib", "/opt"] {
        for llvm in entries(Path::new(folder)) {
            let name = llvm
                .file_name()
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default();
            if let Some(version) = name.strip_prefix("llvm") {
                let version = leading_number(version.trim_start_matches('-')).unwrap_or(OLDEST);
                for lib in ["lib", "lib64"] {
                    found.extend(
                        libraries_in(&llvm.join(lib)).into_iter().map(|path| (version, path)),
                    );
                }
            }
        }
    }
    for folder in [
        format!("/usr/lib/{}-linux-gnu", env::consts::ARCH),
        "/usr/lib64".to_string(),
        "/usr/lib".to_string(),
        "/usr/local/lib".to_string(),
        "/opt/homebrew/opt/llvm/lib".to_string(),
        "/usr/local/opt/llvm/lib".to_string(),
        "/Library/Developer/CommandLineTools/usr/lib".to_string(),
    ] {
        for path in libraries_in(Path::new(&folder)) {
            found.push((version_of_file(&path), path));
        }
    }
    found
}

/// Files named `libclang.so`, `libclang-14.so.1`, `libclang.so.1` or `libclang.dylib` in `folder`, in order.
fn libraries_in(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> =
        entries(folder).into_iter().filter(|path| is_libclang(path)).collect();
    found.sort();
    found
}

fn is_libclang(path: &Path) -> bool {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
        return false;
    };
    let Some(rest) = name.strip_prefix("libclang") else {
        return false;
    };
    // libclang-cpp is the C++ interface, another library.
    let rest = rest.trim_start_matches(|c: char| c == '-' || c == '.' || c.is_ascii_digit());
    (rest.starts_with("so") || rest == "dylib") && !name.contains("-cpp")
}

/// `14` of `libclang-14.so.1`, and of `libclang.so.18.1`; plain names count as the oldest.
fn version_of_file(path: &Path) -> u32 {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let number = name.strip_prefix("libclang-").or_else(|| name.strip_prefix("libclang.so."));
    number.and_then(leading_number).unwrap_or(OLDEST)
}

fn leading_number(text: &str) -> Option<u32> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text[..digits].parse().ok()
}

/// The library inside the PyPI wheel `libclang`, in any `python3.x/site-packages` below `lib`.
fn wheels_under(lib: &Path) -> Vec<PathBuf> {
    let mut pythons = entries(lib);
    pythons.sort();
    pythons.into_iter().flat_map(|python| wheel_in(&python.join("site-packages"))).collect()
}

fn wheel_in(packages: &Path) -> Vec<PathBuf> {
    libraries_in(&packages.join("clang").join("native"))
}

/// Asks the `python3` on `PATH` where its packages lie.
fn wheel_of_python() -> Vec<PathBuf> {
    let script = "import site, sysconfig\n\
                  for path in [sysconfig.get_path('platlib'), *site.getsitepackages(), site.getusersitepackages()]: print(path)";
    let Ok(output) = Command::new("python3").args(["-c", script]).output() else {
        return Vec::new();
    };
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .flat_map(|line| wheel_in(Path::new(line)))
        .collect()
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder)
        .map(|all| all.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_libclang_by_its_name() {
        for name in [
            "libclang.so",
            "libclang.so.1",
            "libclang-14.so.1",
            "libclang.so.18.1",
            "libclang.dylib",
        ] {
            assert!(is_libclang(Path::new(name)), "{name}");
        }
        for name in
            ["libclang-cpp.so.14", "libclangAST.a", "clang.so", "libclang.a", "libclangd.so"]
        {
            assert!(!is_libclang(Path::new(name)), "{name}");
        }
        assert_eq!(version_of_file(Path::new("libclang-17.so.1")), 17);
        assert_eq!(version_of_file(Path::new("libclang.so.18.1")), 18);
    }

    #[test]
    fn finds_a_wheel_in_a_virtual_environment() {
        let folder = tempfile::tempdir().unwrap();
        let native = folder.path().join("lib/python3.11/site-packages/clang/native");
        fs::create_dir_all(&native).unwrap();
        fs::write(native.join("libclang.so"), "").unwrap();
        assert_eq!(wheels_under(&folder.path().join("lib")), [native.join("libclang.so")]);
    }

    #[test]
    fn finds_what_lies_below_a_folder_that_is_named() {
        let root = tempfile::tempdir().unwrap();
        for (named, library) in [
            ("environment", "environment/lib/python3.12/site-packages/clang/native/libclang.so"),
            ("packages", "packages/clang/native/libclang.so"),
            ("packages/clang", "packages/clang/native/libclang.so"),
            ("wheel", "wheel/libclang-18.1.1.data/platlib/clang/native/libclang.so"),
            ("llvm", "llvm/lib/libclang.so.1"),
            ("plain", "plain/libclang-14.so.1"),
        ] {
            let library = root.path().join(library);
            fs::create_dir_all(library.parent().unwrap()).unwrap();
            fs::write(&library, "").unwrap();
            assert_eq!(below(&root.path().join(named)), std::slice::from_ref(&library));
            // It is none, and the error names it.
            let error = find_in(&root.path().join(named)).unwrap_err().to_string();
            assert!(error.contains(&*library.to_string_lossy()), "{error}");
        }
        let empty = find_in(&root.path().join("nowhere")).unwrap_err().to_string();
        assert!(empty.contains("no libclang in this folder"), "{empty}");
    }
}
