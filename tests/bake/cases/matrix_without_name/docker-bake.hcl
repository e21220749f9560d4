target "app" {
 matrix = { x = ["a", "b"] }
}
