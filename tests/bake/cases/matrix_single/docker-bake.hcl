target "app" {
 matrix = { x = ["only"] }
 tags = [x]
}
