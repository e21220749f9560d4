target "default" {
 args = { c = BAKE_CMD_CONTEXT, p = BAKE_LOCAL_PLATFORM }
}
