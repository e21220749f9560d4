targte "default" {
}
