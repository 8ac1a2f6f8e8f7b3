//! The names of layers in the files of Keras 3.

/// The name that Keras 3 gives a class's layers in a file: `SeparableConv2D` is `separable_conv2d`.
pub(super) fn snake_case(class: &str) -> String {
    let mut name = String::new();
    let letters: Vec<char> = class.chars().collect();
    for (i, &letter) in letters.iter().enumerate() {
        let after_small = i > 0 && letters[i - 1].is_lowercase();
        let before_small =
            i > 0 && letter.is_uppercase() && letters.get(i + 1).is_some_and(|next| next.is_lowercase());
        if letter.is_uppercase() && (after_small || before_small) {
            name.push('_');
        }
        name.extend(letter.to_lowercase());
    }
    name
}

/// The name of a class's layer of this number, from 0.
pub(super) fn numbered(class: &str, number: usize) -> String {
    match number {
        0 => snake_case(class),
        number => format!("{}_{number}", snake_case(class)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_named_as_keras_names_them() {
        // keras.src.utils.naming.to_snake_case
        for (class, name) in [
            ("Conv2D", "conv2d"),
            ("SeparableConv2D", "separable_conv2d"),
            ("BatchNormalization", "batch_normalization"),
            ("PReLU", "p_re_lu"),
            ("ReLU", "re_lu"),
            ("ELU", "elu"),
            ("GlobalAveragePooling2D", "global_average_pooling2d"),
        ] {
            assert_eq!(snake_case(class), name);
        }
        assert_eq!((numbered("Dense", 0), numbered("Dense", 3)), ("dense".to_owned(), "dense_3".to_owned()));
    }
}
