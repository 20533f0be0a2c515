//! What the vectors cannot say: laws for every input, and how a vocabulary is read.

use super::*;

fn tree(text: &str) -> Vocabulary {
    serde_json::from_str(text).unwrap()
}

#[test]
fn an_options_value_is_masked_whatever_it_looks_like() {
    let tree = tree(r#"{"run": {"--env": 1, "--pipeline": null, "--async": 0, "run": {}}}"#);
    assert_eq!(
        mask_command(
            ["run", "--env", "run", "--pipeline", "--env", "--async", "run"],
            &tree
        ),
        ["run", "--env", MASK, "--pipeline", MASK, "--async", MASK]
    );
}

#[test]
fn the_daemon_masks_again_and_leaves_a_masked_line_alone() {
    let tree = tree(r#"{"run": {"--env": 1}}"#);
    assert_eq!(
        mask_again("kedro run --env=prod x", "kedro", Some(&tree)),
        "kedro run --env ***** *****"
    );
    assert!(matches!(
        mask_again("kedro run --env ***** *****", "kedro", Some(&tree)),
        Cow::Borrowed(_)
    ));
    assert_eq!(
        mask_again("kedro run /home/bob --env=b", "kedro", None),
        "kedro run ***** *****"
    );
}
