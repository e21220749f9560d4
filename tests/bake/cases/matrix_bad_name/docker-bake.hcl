target "app" {
 name = "a b-${x}"
 matrix = { x = ["a", "b"] }
}
