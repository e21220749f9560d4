target "default" {
 tags = [NOPE]
}
