target "default" { inherits = ["a"] }
target "a" {
 inherits = ["default"]
 tags = ["x"]
}
