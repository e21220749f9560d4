target "a_b" {}
