use std::fs;
use std::path::Path;

use super::*;
use crate::InputFile;
use crate::build::Language;

/// A machine with one header, one library and one package.
struct Fixed;

impl Probe for Fixed {
    fn compiles(&self, source: &str, _: Language) -> bool {
        source.contains("fdatasync")
    }
    fn has_header(&self, name: &str) -> bool {
        name == "unistd.h"
    }
    fn has_library(&self, name: &str) -> bool {
        name == "m"
    }
    fn has_package(&self, name: &str) -> bool {
        name == "Threads"
    }
}

/// Evaluates a project of the given lists, in a folder of its own; `check` gets its root, too.
fn with_project(
    lists: &[(&str, &str)],
    sources: &[&str],
    check: impl FnOnce(&Path, &Path, Settings),
) {
    let (root, binary) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for (name, text) in lists {
        let path = root.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let files: Vec<InputFile> = sources
        .iter()
        .map(|name| InputFile { name: name.to_string(), text: String::new() })
        .collect();
    let settings = evaluate(root.path(), binary.path(), &files, &Fixed).unwrap();
    check(root.path(), binary.path(), settings);
}

fn definitions(settings: &Settings, path: &Path) -> Vec<String> {
    settings
        .files
        .get(path)
        .unwrap_or_else(|| panic!("{path:?} in {settings:?}"))
        .definitions
        .clone()
}

#[test]
fn chooses_by_platform() {
    let list = "
        cmake_minimum_required(VERSION 3.9)
        project(db VERSION 1.2.3 LANGUAGES C CXX)
        if (WIN32)
          set(PLATFORM DB_WINDOWS)
          add_definitions(-DUNICODE)
        else (WIN32)
          set(PLATFORM DB_POSIX)
        endif (WIN32)
        if(CMAKE_SYSTEM_NAME MATCHES \"Darwin\")
          add_definitions(-DOS_MAC)
        elseif(CMAKE_SYSTEM_NAME MATCHES \"Linux\")
          add_definitions(-DOS_LINUX -Wall)
        endif()
        add_library(db \"\")
        target_sources(db PRIVATE src/a.cc \"${PROJECT_SOURCE_DIR}/src/b.cc\")
        target_compile_definitions(db PRIVATE ${PLATFORM}=1 $<$<CONFIG:Debug>:DBG> $<$<NOT:$<CONFIG:Release>>:CHECKED> PUBLIC VERSION=\"${PROJECT_VERSION}\")
        target_include_directories(db PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:include>)
        add_executable(tool tool.cc)
        target_link_libraries(tool PRIVATE db)
        target_compile_features(tool PRIVATE cxx_std_20)
    ";
    with_project(&[("CMakeLists.txt", list)], &[], |root, _, settings| {
        let all = ["OS_LINUX", "DB_POSIX=1", "CHECKED", "VERSION=\"1.2.3\""];
        assert_eq!(definitions(&settings, &root.join("src/b.cc")), all);
        assert_eq!(
            definitions(&settings, &root.join("tool.cc")),
            ["OS_LINUX", "VERSION=\"1.2.3\""]
        );
        assert_eq!(settings.files[&root.join("tool.cc")].cxx_standard, Some(20));
        assert_eq!(settings.default.definitions, all);
        assert_eq!(settings.folders, [root.join("include")]);
    });
}

#[test]
fn asks_the_machine() {
    let list = "
        include(CheckCXXSymbolExists)
        check_include_file(\"unistd.h\" HAVE_UNISTD_H)
        check_library_exists(snappy snappy_compress \"\" HAVE_SNAPPY)
        check_cxx_symbol_exists(fdatasync \"unistd.h\" HAVE_FDATASYNC)
        check_cxx_symbol_exists(F_FULLFSYNC \"fcntl.h\" HAVE_FULLFSYNC)
        check_cxx_source_compiles(\"int main() { fallocate(); }\" HAVE_FALLOCATE)
        foreach(name UNISTD_H SNAPPY FDATASYNC FULLFSYNC FALLOCATE)
          if(HAVE_${name})
            add_compile_definitions(HAVE_${name}=1)
          endif()
        endforeach()
        configure_file(config.h.in ${PROJECT_BINARY_DIR}/gen/config.h)
        include_directories(${PROJECT_BINARY_DIR}/gen)
    ";
    let template = "#cmakedefine HAVE_UNISTD_H\n#cmakedefine HAVE_SNAPPY\n#cmakedefine01 HAVE_FDATASYNC\nmail@x $ @CMAKE_SYSTEM_NAME@\n";
    with_project(
        &[("CMakeLists.txt", list), ("config.h.in", template)],
        &[],
        |_, binary, settings| {
            assert_eq!(settings.default.definitions, ["HAVE_UNISTD_H=1", "HAVE_FDATASYNC=1"]);
            let made = fs::read_to_string(binary.join("gen/config.h")).unwrap();
            assert_eq!(
                made,
                "#define HAVE_UNISTD_H\n/* #undef HAVE_SNAPPY */\n#define HAVE_FDATASYNC 1\nmail@x $ Linux\n"
            );
            assert_eq!(settings.folders, [binary.join("gen")]);
        },
    );
}

#[test]
fn stands_in_for_a_missing_template() {
    let list =
        "check_include_file(unistd.h HAVE_UNISTD_H)\nconfigure_file(config.h.in gen/config.h)\n";
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("CMakeLists.txt"), list).unwrap();
    let file = |text: &str| [InputFile { name: "a.cc".into(), text: text.into() }];
    let of = |text| {
        evaluate(root.path(), &root.path().join("b"), &file(text), &Fixed)
            .unwrap()
            .default
            .definitions
    };
    assert_eq!(of("#if HAVE_UNISTD_H\n#endif\n"), ["HAVE_UNISTD_H=1"]);
    assert!(of("").is_empty());
}

#[test]
fn what_cannot_be_built_here_is_off() {
    let list = "
        option(WITH_GFLAGS \"\" ON)
        option(WITH_THREADS \"\" ON)
        if(WITH_GFLAGS)
          find_package(gflags CONFIG)
          if(NOT gflags_FOUND)
            find_package(gflags REQUIRED)
          endif()
          add_definitions(-DGFLAGS=1)
        endif()
        if(WITH_THREADS)
          find_package(Threads REQUIRED)
          add_definitions(-DTHREADS)
        endif()
        if(WITH_GFLAGS)
          add_definitions(-DSTILL)
        endif()
    ";
    with_project(&[("CMakeLists.txt", list)], &[], |_, _, settings| {
        assert_eq!(settings.default.definitions, ["THREADS"]);
    });
}

#[test]
fn runs_functions_and_folders() {
    let list = "
        set(CMAKE_CXX_STANDARD 14)
        function(add_test_program name)
          add_executable(${name} ${ARGN})
          target_compile_definitions(${name} PRIVATE TEST_${name})
        endfunction()
        macro(remember value)
          list(APPEND ALL ${value})
        endmacro()
        remember(x)
        remember(y)
        string(TOUPPER \"${ALL}\" UPPER)
        add_subdirectory(sub)
        add_definitions(-D${UPPER})
        file(GLOB SRC \"*.cc\")
        add_library(globbed ${SRC})
    ";
    let sub = "add_test_program(one one.cc)\nadd_definitions(-DSUB)\ninclude_directories(.)\n";
    with_project(
        &[("CMakeLists.txt", list), ("sub/CMakeLists.txt", sub)],
        &["g.cc", "h.h"],
        |root, _, settings| {
            assert_eq!(definitions(&settings, &root.join("sub/one.cc")), ["X", "SUB", "TEST_one"]);
            assert_eq!(definitions(&settings, &root.join("g.cc")), ["X"]);
            assert_eq!(settings.files[&root.join("g.cc")].cxx_standard, Some(14));
            assert_eq!(settings.folders, [root.join("sub")]);
        },
    );
}

#[test]
fn parses_arguments_and_writes_files() {
    let list = "
        function(add_program name)
          cmake_parse_arguments(P \"HEADER_ONLY\" \"STD\" \"LIBS\" ${ARGN})
          add_executable(${name} ${name}.cc ${P_UNPARSED_ARGUMENTS})
          target_link_libraries(${name} ${P_LIBS})
          if(P_HEADER_ONLY)
            target_compile_definitions(${name} PRIVATE HEADER_ONLY=1)
          endif()
          set_target_properties(${name} PROPERTIES CXX_STANDARD ${P_STD})
        endfunction()
        add_library(lib INTERFACE)
        target_compile_definitions(lib INTERFACE FROM_LIB)
        add_program(one two.cc HEADER_ONLY STD 20 three.cc LIBS lib other)
        file(WRITE ${CMAKE_BINARY_DIR}/made.h \"#define MADE\\n\")
        file(WRITE ${CMAKE_SOURCE_DIR}/written.h \"never\")
        file(WRITE ${CMAKE_BINARY_DIR}/../outside.h \"never\")
    ";
    with_project(&[("CMakeLists.txt", list)], &[], |root, binary, settings| {
        for file in ["one.cc", "two.cc", "three.cc"] {
            assert_eq!(definitions(&settings, &root.join(file)), ["HEADER_ONLY=1", "FROM_LIB"]);
            assert_eq!(settings.files[&root.join(file)].cxx_standard, Some(20));
        }
        assert_eq!(fs::read_to_string(binary.join("made.h")).unwrap(), "#define MADE\n");
        assert!(!root.join("written.h").exists() && !binary.join("../outside.h").exists());
    });
}

#[test]
fn ends_on_hostile_lists() {
    let lists = [
        "macro(a)\na()\nendmacro()\na()",
        "function(f)\nf()\nf()\nendfunction()\nf()",
        "include(CMakeLists.txt)",
        "add_subdirectory(.)\nadd_subdirectory(..)",
        "set(A \"${A}${A}x\")\nforeach(i RANGE 100000)\nset(A \"${A}${A}xx\")\nendforeach()",
        "while(1)\nset(A b)\nendwhile()",
        "if(\nelse(\nendif(",
        "foreach(a RANGE 1000)\nforeach(b RANGE 1000)\nforeach(c RANGE 1000)\nset(x y)\nendforeach()\nendforeach()\nendforeach()",
        "endif()\nelse()\nendforeach()\nendfunction()",
    ];
    for list in lists {
        with_project(&[("CMakeLists.txt", list)], &[], |_, _, _| ());
    }
    let nested = "if(1)\n".repeat(3000);
    with_project(&[("CMakeLists.txt", &nested)], &[], |_, _, _| ());
}
