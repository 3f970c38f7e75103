//! Web servers, `file://`, and paths that only look like URLs.

use crate::kiln::{Folder, samples};
use crate::places::{SMALL, files};
use crate::web::Web;

#[test]
fn documents_and_tokenizers_are_read_from_a_web_server() {
    let folder = Folder::new();
    let samples = samples();
    folder.run(&format!("corpus files {samples}/ringlog --out docs --compress --shard-bytes 8k --validation-share 0.2")).success();
    folder.run("tokenizer train --data docs --out tok --vocab-size 512").success();
    folder
        .run(&format!("train --data docs --tokenizer tok --out run {SMALL} --num-iterations 4"))
        .success();
    let web = Web::start();
    for name in ["docs", "tok", "run"] {
        for (file, content) in files(&folder.path(name)) {
            web.put(&format!("/my%20data/{name}/{file}"), &content);
        }
    }
    let base = web.url("/my%20data");
    folder
        .run(&format!(
            "train --data {base}/docs --tokenizer {base}/tok --out again {SMALL} --num-iterations 4"
        ))
        .success();
    let model = "step-000004/model.safetensors";
    assert_eq!(folder.read(&format!("again/{model}")), folder.read(&format!("run/{model}")));
    let generate = "--prompt int --max-tokens 5 --temperature 0 --threads 1";
    let expected = folder.run(&format!("generate --checkpoint run {generate}"));
    let ran = folder.run(&format!("generate --checkpoint {base}/run {generate}"));
    assert_eq!(ran.success(), expected.success());
    folder
        .run(&format!(
            "train --data {base}/docs --init-from {base}/run/step-4 --smear false --out less {SMALL} --num-iterations 1"
        ))
        .success();
    let config = folder.read("less/step-000001/config.json");
    let config: serde_json::Value = serde_json::from_slice(&config).unwrap();
    let tokenizer = format!("{base}/run/step-000004/tokenizer");
    assert_eq!(config["train"]["tokenizer"].as_str(), Some(tokenizer.as_str()));
    assert_eq!(config["train"]["init_from"], format!("{base}/run/step-4"));
    let local = format!("file://{}", folder.path("run").display());
    let ran = folder.run(&format!("generate --checkpoint {local} {generate}"));
    assert_eq!(ran.success(), expected.success());
    folder.run(&format!("corpus files {base}/src --out x")).fails(1, &[&format!("{base}/src")]);
    let out = format!("tokenizer export --tokenizer tok --format hf --out {base}/x.json");
    folder.run(&out).fails(1, &["/my%20data/x.json", "can only be read from", "hint: write to"]);
}

#[test]
fn file_urls_are_paths() {
    let folder = Folder::new();
    folder.write("my source/a b.cc", "int main() { return 0; }\n");
    let base = format!("file://{}", folder.path("").display());
    folder.run(&format!("corpus files {base}my%20source --out {base}my%20docs")).success();
    assert!(folder.path("my docs/_COMPLETE").exists());
    let documents = String::from_utf8(folder.read("my docs/documents.jsonl")).unwrap();
    assert!(documents.contains(r#""project":"my source""#), "{documents}");
    folder.run("corpus files file://relative --out x").fails(1, &["file:///PATH"]);
}

#[test]
fn paths_that_look_like_urls_are_paths() {
    let folder = Folder::new();
    folder.write("s3:/bucket/a.cc", "int a;\n");
    folder.run("corpus files s3:/bucket --out docs").success();
    folder.run("corpus files ./s3:/bucket --out s3:/docs").success();
    assert_eq!(folder.read("s3:/docs/documents.jsonl"), folder.read("docs/documents.jsonl"));
    folder.run("corpus files ftp://host/src --out docs2").fails(
        1,
        &["ftp://host/src", "none of s3://, gs://, az://, http://, https:// and file://"],
    );
}
