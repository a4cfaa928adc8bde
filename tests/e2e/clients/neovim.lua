-- Copyright The pluggd Authors.
-- SPDX-License-Identifier: Apache-2.0
-- Neovim as a client: its own RPC, nothing of ours. Reads calls, one JSON array
-- `[method, arguments, metadata]` a line, and writes `{"ok": ..., "result": ...}` for
-- each, where the result of a failed call is the text that pcall shows.

local address, calls = vim.env.PLUGGD_ADDRESS, vim.env.PLUGGD_CALLS
local channel = vim.fn.sockconnect('pipe', address, { rpc = true })

for line in io.lines(calls) do
  -- decode keeps {} and [] apart (vim.empty_dict), as a careful script does
  local ok, result = pcall(vim.fn.rpcrequest, channel, unpack(vim.fn.json_decode(line)))
  if not ok then
    result = tostring(result)
  end
  io.stdout:write(vim.fn.json_encode({ ok = ok, result = result }), '\n')
  io.stdout:flush()
end

-- What people type: an empty Lua table, which arrives as an array.
local ok, result = pcall(vim.fn.rpcrequest, channel, 'namespaces.v1.list', {})
io.stdout:write(vim.fn.json_encode({ ok = ok, result = result }), '\n')
