target "default" {
 tags = ["a"
}
