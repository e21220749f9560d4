target "default" {
 tags = "notalist"
}
