//! Packs a data set for an epoch and measures what the rows hold.
//!
//! ```text
//! cargo run --release -p kiln-data --example packing -- DATA TOKENIZER T
//! ```

#[path = "../tests/common/measure.rs"]
mod measure;

use kiln_tokenizer::Tokenizer;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [data, tokenizer, seq_len] = &arguments[..] else {
        eprintln!("usage: packing DATA TOKENIZER T");
        std::process::exit(2);
    };
    let tokenizer = Tokenizer::load(tokenizer).expect("a tokenizer");
    let tokens = |text: &str| {
        let mut ids = Vec::new();
        tokenizer.encode_into(text.as_bytes(), &mut ids);
        ids.len()
    };
    let seq_len = seq_len.parse().expect("T is a number");
    let measured = measure::measure(data.as_ref(), seq_len, &tokens);
    println!("documents           {}", measured.documents);
    println!("tokens              {}", measured.tokens);
    println!("padding             {}", measured.padding);
    println!("not seen once       {}", measured.miscounted);
    println!("BOS                 {:.2} %", 100.0 * measured.bos);
    println!("documents in a batch of 32 rows {:.1}", measured.documents_of_batch);
    println!(
        "\nfirst tenth of the epoch, share of the tokens\nlength from  documents  of all  packed  drawn"
    );
    for class in &measured.classes {
        println!(
            "{:11}  {:9}  {:5.1}%  {:5.1}%  {:4.1}%",
            class.from,
            class.documents,
            100.0 * class.share,
            100.0 * class.packed,
            100.0 * class.drawn
        );
    }
}
