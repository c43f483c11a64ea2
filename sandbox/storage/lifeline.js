// Preloaded into Azurite (node --require): ends it when the sandbox that started it is gone.
//
// The sandbox holds the other end of standard input and never writes to it. The system closes that pipe when
// the sandbox ends in any way, SIGKILL included; SIGTERM then lets Azurite save what it holds.
'use strict';

process.stdin.on('end', () => process.kill(process.pid, 'SIGTERM'));
process.stdin.on('error', () => process.kill(process.pid, 'SIGTERM'));
process.stdin.resume();
process.stdin.unref(); // waiting for the pipe must not keep Azurite alive once it has closed its servers
