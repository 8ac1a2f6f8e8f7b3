//! A JSON line for each face, answered on all cores: `answers FACE…`.

use std::path::PathBuf;
use std::{env, error::Error, thread};

use fer_model::Classifier;
use serde_json::{Value, json};

fn main() -> Result<(), Box<dyn Error>> {
    let faces: Vec<PathBuf> = env::args_os().skip(1).map(PathBuf::from).collect();
    let classifier = Classifier::pretrained()?;
    let answer = |face: &PathBuf| match classifier.predict_file(face) {
        Ok(prediction) => json!({ "face": face, "top": prediction.top(2), "prediction": prediction }),
        Err(error) => json!({ "face": face, "error": error.to_string() }),
    };
    let share = faces.len().div_ceil(thread::available_parallelism()?.get()).max(1);
    let answers: Vec<Value> = thread::scope(|scope| {
        let shares = faces.chunks(share);
        let workers: Vec<_> =
            shares.map(|faces| scope.spawn(move || faces.iter().map(answer).collect::<Vec<_>>())).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("no thread panics")).collect()
    });
    answers.iter().for_each(|answer| println!("{answer}"));
    Ok(())
}
