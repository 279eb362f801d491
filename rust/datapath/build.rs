//! Compiles bpf/director.bpf.c, with the first compiler that is there: $TRIMARAN_CLANG, the clang
//! inside PyPI's ziglang, the system's clang.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

const COMMON: &[&str] = &["-mcpu=v3", "-O2", "-g", "-Wall", "-Wextra", "-Werror", "-c"];

fn main() {
    let sources = PathBuf::from(env::var("CARGO_MANIFEST_DIR").unwrap()).join("../../bpf");
    let output = PathBuf::from(env::var("OUT_DIR").unwrap());
    println!("cargo:rerun-if-changed={}", sources.display());
    for name in ["TRIMARAN_CLANG", "PYO3_PYTHON"] {
        println!("cargo:rerun-if-env-changed={name}");
    }
    for name in ["director", "bench"] {
        compile(&sources, &output, name);
    }
}

fn compile(sources: &Path, output: &Path, name: &str) {
    let Some(mut compiler) = compiler(output) else {
        stop(
            "no compiler for eBPF was found: install the Python package ziglang (pip install \
             ziglang) or clang, or name a clang in TRIMARAN_CLANG",
        );
    };
    compiler.args(COMMON);
    compiler.arg(sources.join(format!("{name}.bpf.c")));
    compiler.arg("-o").arg(output.join(format!("{name}.bpf.o")));
    match compiler.output() {
        Ok(result) if result.status.success() => {}
        Ok(result) => stop(&format!(
            "compiling bpf/{name}.bpf.c failed: {compiler:?}\n{}",
            String::from_utf8_lossy(&result.stderr)
        )),
        Err(error) => stop(&format!("cannot run {compiler:?}: {error}")),
    }
}

fn stop(message: &str) -> ! {
    eprintln!("{message}");
    std::process::exit(1)
}

fn compiler(output: &Path) -> Option<Command> {
    if let Some(clang) = env::var_os("TRIMARAN_CLANG") {
        return Some(clang_command(Path::new(&clang)));
    }
    zig(output).or_else(|| runs("clang").then(|| clang_command(Path::new("clang"))))
}

fn clang_command(clang: &Path) -> Command {
    let mut command = Command::new(clang);
    command.args(["-target", "bpf"]);
    // Debian keeps asm/ in a directory that only the native target looks into.
    let multiarch = format!("/usr/include/{}-linux-gnu", env::consts::ARCH);
    command.args(["-idirafter", &multiarch]);
    command
}

/// The kernel's headers come with zig too, so that this needs nothing of the system.
fn zig(output: &Path) -> Option<Command> {
    let (python, library) = ziglang()?;
    let headers = library.join("lib/libc/include");
    let machine = match env::consts::ARCH {
        "x86_64" => "x86",
        other => other,
    };
    let mut command = Command::new(python);
    command.args(["-m", "ziglang", "cc", "-target", "bpfel-freestanding-none"]);
    command.arg("-fno-sanitize=all");
    for directory in ["any", machine] {
        command
            .arg("-isystem")
            .arg(headers.join(format!("{directory}-linux-any")));
    }
    command.env("ZIG_LOCAL_CACHE_DIR", output.join("zig"));
    command.env("ZIG_GLOBAL_CACHE_DIR", output.join("zig"));
    Some(command)
}

/// A Python that has ziglang, and where the package is.
fn ziglang() -> Option<(String, PathBuf)> {
    let script = "import os, ziglang; print(os.path.dirname(ziglang.__file__))";
    let named = env::var("PYO3_PYTHON").ok();
    let candidates = named.into_iter().chain(["python3".into(), "python".into()]);
    candidates.into_iter().find_map(|python| {
        let result = Command::new(&python).args(["-c", script]).output().ok()?;
        let path = String::from_utf8(result.stdout).ok()?;
        let found = result.status.success();
        found.then(|| (python, PathBuf::from(path.trim())))
    })
}

fn runs(program: &str) -> bool {
    let result = Command::new(program).arg("--version").output();
    result.is_ok_and(|output| output.status.success())
}
