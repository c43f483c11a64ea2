// Preloaded into Azurite (node --require): a write that was answered is on disk, so SIGKILL loses none.
//
// Azurite keeps its records in LokiJS, which saves a whole database every five seconds. Here that timer is
// never set; instead the last byte of every answer waits until a save has finished that began after the change.
// Answers that wait together share one save (group commit). It guards against the end of the process, not
// against the loss of power: LokiJS does not fsync.
'use strict';

const http = require('http');
const Module = require('module');

const databases = new Set();
let running = null; // the save in progress
let following = null; // the one save that begins after it

const isDirty = () => [...databases].some((database) => database.autosaveDirty());

function takeOver(Loki) {
  Loki.prototype.autosaveEnable = function () {
    databases.add(this);
    this.autosave = true;
  };
}

const load = Module._load;
let found = false;
Module._load = function (request) {
  const loaded = load.apply(this, arguments);
  if (!found && request === 'lokijs') {
    found = true;
    takeOver(loaded);
  }
  return loaded;
};

function save(database) {
  return new Promise((resolve, reject) => database.saveDatabase((error) => (error ? reject(error) : resolve())));
}

function saveAll() {
  const dirty = [...databases].filter((database) => database.autosaveDirty());
  running = Promise.all(dirty.map(save)).finally(() => {
    running = null;
  });
  return running;
}

// A save clears the dirty mark when it begins. So a change that is no longer marked is part of the save in
// progress, and one that is still marked needs the save after it.
function commit() {
  if (!running) return saveAll();
  if (!isDirty()) return running;
  following ??= running.then(() => {
    following = null;
    return saveAll();
  });
  return following;
}

// The mark is cleared although the save failed, so nothing answered from here on could be trusted.
function giveUp(error) {
  console.error('Azurite could not save and ends:', error);
  process.exit(1);
}

const end = http.ServerResponse.prototype.end;
http.ServerResponse.prototype.end = function (...args) {
  if (!running && !isDirty()) return end.apply(this, args);
  commit().then(() => end.apply(this, args), giveUp);
  return this;
};
