target "default" { context = "two" }
target "more" {}
