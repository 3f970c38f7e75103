//! Weights through files: what is written is read back, and what is damaged is an error.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kiln_model::{
    ModelConfig, Parameter, Preset, SafetensorsFile, TensorData, WeightsError, initialize, load,
    save,
};
use tempfile::TempDir;

type Weights = BTreeMap<String, Vec<f32>>;

fn config() -> ModelConfig {
    let mut config = ModelConfig {
        n_layer: 2,
        n_embd: 24,
        n_head: 2,
        n_kv_head: 1,
        vocab_size: 10,
        ..ModelConfig::default()
    };
    config.apply_preset(Preset::Modern);
    config
}

fn weights(config: &ModelConfig) -> Weights {
    let mut weights = Weights::new();
    let keep = |p: &Parameter, values: &[f32]| {
        weights.insert(p.name.clone(), values.to_vec());
        Ok::<(), ()>(())
    };
    initialize(config, 3, keep).unwrap();
    weights
}

fn save_weights(path: &Path, config: &ModelConfig, weights: &Weights) {
    let parameters = config.parameters();
    let tensors: Vec<TensorData<'_>> = parameters
        .iter()
        .map(|p| TensorData { name: &p.name, shape: &p.shape, values: &weights[&p.name] })
        .collect();
    save(path, &tensors).unwrap();
}

fn load_weights(path: &Path, config: &ModelConfig) -> Result<Weights, WeightsError> {
    let mut weights = Weights::new();
    load(path, config, |p, values| {
        weights.insert(p.name.clone(), values.to_vec());
        Ok::<(), WeightsError>(())
    })?;
    Ok(weights)
}

/// A file of this header and so many zeros.
fn file(folder: &TempDir, header: &str, zeros: usize) -> PathBuf {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.resize(bytes.len() + zeros, 0);
    raw(folder, &bytes)
}

fn raw(folder: &TempDir, bytes: &[u8]) -> PathBuf {
    let path = folder.path().join("damaged.safetensors");
    std::fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn weights_come_back_bit_for_bit() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("model.safetensors");
    let config = config();
    let mut written = weights(&config);
    // A value that is not equal to itself.
    written.get_mut("resid_lambdas").unwrap()[0] = f32::NAN;
    save_weights(&path, &config, &written);
    let read = load_weights(&path, &config).unwrap();
    assert_eq!(read.len(), written.len());
    for (name, values) in &written {
        let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(values), bits(&read[name]), "{name}");
    }
}

#[test]
fn long_tensors_and_empty_ones_are_written_whole() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("t.safetensors");
    let long: Vec<f32> = (0..100_003).map(|i| i as f32).collect();
    let tensors = [
        TensorData { name: "z", shape: &[100_003], values: &long },
        TensorData { name: "empty", shape: &[0, 4], values: &[] },
        TensorData { name: "scalar \"quoted\"", shape: &[], values: &[7.0] },
    ];
    save(&path, &tensors).unwrap();
    let mut file = SafetensorsFile::open(&path).unwrap();
    let names: Vec<&str> = file.tensors().map(|(name, _)| name).collect();
    assert_eq!(names, ["empty", "scalar \"quoted\"", "z"]);
    let mut values = Vec::new();
    file.read("z", &mut values).unwrap();
    assert_eq!(values, long);
    file.read("empty", &mut values).unwrap();
    assert!(values.is_empty());
    file.read("scalar \"quoted\"", &mut values).unwrap();
    assert_eq!(values, [7.0]);
}

#[test]
fn the_format_is_that_of_the_safetensors_library() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("model.safetensors");
    let config = config();
    let written = weights(&config);
    save_weights(&path, &config, &written);
    let bytes = std::fs::read(&path).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(tensors.len(), written.len());
    let wte = tensors.tensor("transformer.wte.weight").unwrap();
    assert_eq!((wte.dtype(), wte.shape()), (safetensors::Dtype::F32, &[64, 24][..]));
    let first = f32::from_le_bytes(wte.data()[..4].try_into().unwrap());
    assert_eq!(first, written["transformer.wte.weight"][0]);
    // Its own writer's files are read as well.
    let again = folder.path().join("again.safetensors");
    safetensors::serialize_to_file(tensors.iter(), None, &again).unwrap();
    assert_eq!(load_weights(&again, &config).unwrap(), written);
}

#[test]
fn bf16_and_f16_are_converted_and_others_refused() {
    let folder = TempDir::new().unwrap();
    let header = r#"{"a":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]},
        "b":{"dtype":"F16","shape":[1],"data_offsets":[4,6]},
        "c":{"dtype":"I64","shape":[1],"data_offsets":[6,14]}}"#;
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend([0x80, 0x3f, 0x00, 0xc0, 0x00, 0x3e]);
    bytes.extend([0; 8]);
    let mut file = SafetensorsFile::open(&raw(&folder, &bytes)).unwrap();
    let mut values = Vec::new();
    file.read("a", &mut values).unwrap();
    assert_eq!(values, [1.0, -2.0]);
    file.read("b", &mut values).unwrap();
    assert_eq!(values, [1.5]);
    let error = file.read("c", &mut values).unwrap_err().to_string();
    assert!(error.ends_with("c is I64, not F32, BF16 or F16"), "{error}");
    let error = file.expect([("a", &[2][..]), ("b", &[1]), ("c", &[1])]).unwrap_err().to_string();
    assert!(error.contains("c is I64"), "{error}");
}

#[test]
fn all_differences_are_named_at_once() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("model.safetensors");
    let config = config();
    save_weights(&path, &config, &weights(&config));
    let other = ModelConfig { vocab_size: 65, smear: false, n_layer: 3, ..config };
    let error = load_weights(&path, &other).unwrap_err().to_string();
    for part in [
        "model.safetensors",
        "transformer.wte.weight is [64, 24], not [128, 24]",
        "transformer.h.2.attn.c_q.weight is missing",
        "value_embeds.0.weight is missing",
        "smear_lambda is unexpected",
        "resid_lambdas is [2], not [3]",
    ] {
        assert!(error.contains(part), "{part} not in {error}");
    }
}

#[test]
fn a_header_longer_than_the_file_is_an_error() {
    let folder = TempDir::new().unwrap();
    for length in [0u64, 8, 1 << 30, 1 << 60, u64::MAX] {
        let error = SafetensorsFile::open(&raw(&folder, &length.to_le_bytes())).unwrap_err();
        assert!(matches!(error, WeightsError::Format { .. }), "{length}: {error}");
    }
    for bytes in [&b""[..], b"short"] {
        let error = SafetensorsFile::open(&raw(&folder, bytes)).unwrap_err();
        assert!(error.to_string().contains("not a safetensors file: only"), "{error}");
    }
}

#[test]
fn hostile_headers_are_errors() {
    let folder = TempDir::new().unwrap();
    let tensor = |info: &str| format!(r#"{{"a":{{"dtype":"F32",{info}}}}}"#);
    let headers = [
        // Ranges that overlap, leave a gap, run backwards, or do not fit to the shape.
        (tensor(r#""shape":[1],"data_offsets":[4,8]"#), 8),
        (tensor(r#""shape":[1],"data_offsets":[8,4]"#), 8),
        (tensor(r#""shape":[3],"data_offsets":[0,8]"#), 8),
        (
            r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},
               "b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}"#
                .into(),
            12,
        ),
        // Sizes that overflow.
        (tensor(r#""shape":[4294967296,4294967296,4294967296],"data_offsets":[0,0]"#), 0),
        (tensor(r#""shape":[18446744073709551615],"data_offsets":[0,18446744073709551612]"#), 0),
        (tensor(r#""shape":[-1],"data_offsets":[0,4]"#), 4),
        // More or fewer bytes than the header says.
        (tensor(r#""shape":[2],"data_offsets":[0,8]"#), 7),
        (tensor(r#""shape":[2],"data_offsets":[0,8]"#), 9),
        (tensor(r#""shape":[1000000000],"data_offsets":[0,4000000000]"#), 4),
        // Not the JSON it should be.
        ("[]".into(), 0),
        ("{".into(), 0),
        ("\u{0}".into(), 0),
        (r#"{"a":{"dtype":"F33","shape":[1],"data_offsets":[0,4]}}"#.into(), 4),
        (r#"{"a":[]}"#.into(), 0),
    ];
    for (header, zeros) in headers {
        let error = SafetensorsFile::open(&file(&folder, &header, zeros)).unwrap_err();
        assert!(matches!(error, WeightsError::Format { .. }), "{header}: {error}");
    }
}

#[test]
fn every_truncation_is_an_error() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("model.safetensors");
    let values = [1.0, 2.0, 3.0];
    save(&path, &[TensorData { name: "a", shape: &[3], values: &values }]).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    for length in 0..bytes.len() {
        assert!(SafetensorsFile::open(&raw(&folder, &bytes[..length])).is_err(), "{length}");
    }
}

#[test]
fn a_deep_shape_is_a_mismatch_not_a_panic() {
    let folder = TempDir::new().unwrap();
    let header = r#"{"a":{"dtype":"F32","shape":[1,1,1,1,1,1],"data_offsets":[0,4]}}"#;
    let file = SafetensorsFile::open(&file(&folder, header, 4)).unwrap();
    let error = file.expect([("a", &[1][..])]).unwrap_err().to_string();
    assert!(error.ends_with("a is [1, 1, 1, 1, 1, 1], not [1]"), "{error}");
}

#[test]
fn files_that_cannot_be_opened_or_written_are_named() {
    let folder = TempDir::new().unwrap();
    let missing = folder.path().join("no-such-folder").join("model.safetensors");
    let error = SafetensorsFile::open(&missing).unwrap_err().to_string();
    assert!(error.contains("no-such-folder"), "{error}");
    let error = save(&missing, &[]).unwrap_err().to_string();
    assert!(error.contains("no-such-folder"), "{error}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error() {
    let tensor = TensorData { name: "a", shape: &[100], values: &[1.0; 100] };
    let error = save(Path::new("/dev/full"), &[tensor]).unwrap_err();
    assert!(matches!(error, WeightsError::Io { .. }), "{error}");
}
