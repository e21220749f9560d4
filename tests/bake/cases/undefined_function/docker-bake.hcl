target "default" {
 tags = [nope("x")]
}
