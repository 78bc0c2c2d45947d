//! What the compiler says about a handler that is none.

#[test]
fn the_compiler_says_what_a_handler_is() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
