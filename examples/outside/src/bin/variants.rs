//! Nine variants of a photo: `variants PHOTO FOLDER`.

use std::{env, error::Error, fs, path::PathBuf};

use fer_augment::{Augment, AugmentConfig};
use fer_rand::{Purpose, Stream};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<PathBuf> = env::args_os().skip(1).map(PathBuf::from).collect();
    let [photo, folder] = args.as_slice() else { return Err("usage: variants PHOTO FOLDER".into()) };
    let photo = image::open(photo)?.into_rgb8();
    let augment = Augment::new(AugmentConfig::photos())?;
    fs::create_dir_all(folder)?;
    for item in 0..9 {
        let stream = Stream { seed: 42, purpose: Purpose::named("variants"), epoch: 0, item };
        augment.rgb(&mut stream.rng(), &photo)?.save(folder.join(format!("{item}.png")))?;
    }
    Ok(())
}
