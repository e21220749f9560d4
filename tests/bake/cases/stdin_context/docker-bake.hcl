target "default" { context = "-" }
