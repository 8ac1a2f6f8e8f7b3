//! Compiles the CUDA kernels, when they are asked for: by the nvcc in `NVCC`, in `CUDA_HOME` or on the path, for the
//! compute capability in `CUDA_COMPUTE_CAP` (80).

use std::env;
use std::path::PathBuf;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=kernels");
    for variable in ["NVCC", "CUDA_HOME", "CUDA_COMPUTE_CAP"] {
        println!("cargo:rerun-if-env-changed={variable}");
    }
    if env::var_os("CARGO_FEATURE_CUDA").is_some() {
        compile();
    }
}

fn compile() {
    let of_home = env::var_os("CUDA_HOME").map(|home| PathBuf::from(home).join("bin/nvcc"));
    let nvcc = env::var_os("NVCC").map(PathBuf::from).or(of_home.filter(|nvcc| nvcc.exists()));
    let nvcc = nvcc.unwrap_or_else(|| "nvcc".into());
    let cap = env::var("CUDA_COMPUTE_CAP").unwrap_or_else(|_| "80".into()).replace('.', "");
    let run = |command: &mut Command| {
        let output = command.output().unwrap_or_else(|e| {
            panic!("{}: {e}; the feature `cuda` needs CUDA's compiler, see the README", nvcc.display())
        });
        let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command:?} failed:\n{text}");
        text.into_owned()
    };

    // `Cuda compilation tools, release 13.0, V13.0.88`
    let version = run(Command::new(&nvcc).arg("--version"));
    let release = version.split("release ").nth(1).and_then(|rest| rest.split(',').next());
    let Some(release) = release else {
        panic!("{} --version does not name its release:\n{version}", nvcc.display())
    };
    println!("cargo:rustc-env=FER_CUDA_RELEASE={release}");

    // Machine code for the card and PTX for those that come after it.
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("kernels.fatbin");
    let arch = format!("arch=compute_{cap},code=[sm_{cap},compute_{cap}]");
    let flags = ["-std=c++17", "-O3", "-fatbin", "-gencode", &arch, "kernels/kernels.cu", "-o"];
    run(Command::new(&nvcc).args(flags).arg(out));
}
