// The keys of the page, and its start.

const markOfKey = (key) => Object.keys(KEYS_OF_MARKS).find((mark) => KEYS_OF_MARKS[mark] === key.toLowerCase()) ?? (key === "Backspace" || key === "Delete" ? "" : null);

document.addEventListener("keydown", (event) => {
  if (event.altKey || byId("help").open || byId("save").open || !gallery) return;
  const typing = event.target.matches("input:not([type=checkbox]), select, textarea");
  if (event.key === "Escape" && typing) event.target.blur();
  if (typing && event.target.type !== "range") return;
  if (event.ctrlKey || event.metaKey) {
    if (event.key === "z" || event.key === "y" || event.key === "Z") undo(event.key !== "z");
    else if (event.key === "a" && !dialog.open) gallery.chooseAll(true);
    else return;
    event.preventDefault();
    return;
  }
  if (handled(event)) event.preventDefault();
});

/** True where a key means something. */
function handled(event) {
  const mark = markOfKey(event.key);
  if (dialog.open) {
    if (event.key === "z") undo(false);
    else if (mark !== null) detail.mark(mark);
    else return false;
    return true;
  }
  const moves = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -gallery.columns, ArrowDown: gallery.columns };
  const card = event.target.closest?.(".card");
  const onCard = card || event.target === document.body || event.target === gallery.host;
  if (onCard && event.key in moves) {
    const from = gallery.current;
    gallery.go(card ? from + moves[event.key] : from);
    if (event.shiftKey) gallery.choose(gallery.current, from);
  } else if (onCard && event.key === "Home") gallery.go(0);
  else if (onCard && event.key === "End") gallery.go(shown.length - 1);
  else if (card && event.key === "Enter") openRow(shown[gallery.current]);
  else if (card && event.key === " ") gallery.toggle(gallery.current);
  else if (onCard && event.key === "Escape") gallery.chooseAll(false);
  else if (onCard && mark !== null) markByKey(mark);
  else if (event.key === "z") undo(false);
  else if (onCard && event.key === "o" && shown.length) unfold(shown[gallery.current]);
  else if (event.key === "a") gallery.chooseAll(true);
  else if (event.key === "/") byId("search").focus();
  else if (event.key === "t") byId("threshold").focus();
  else if (event.key === "c") copyNames();
  else if (event.key === "s") downloadRows();
  else if (event.key === "d") switchTheme();
  else if (event.key === "?") byId("help").showModal();
  else return false;
  return true;
}

loadArrays().then(() => {
  marks = new Marks(() => {
    if (state.mark === "any") gallery.dressAll();
    else update();
    detail.showMark();
    showProgress();
  });
  gallery = new Gallery(byId("gallery"), marks, { open: openRow, mark: (rows, value) => mark(rows, value), chosen: showChosen, unfold });
  detail = new Detail(step, marks, (row, value) => mark([row], value));
  byId("panel").open = matchMedia("(min-width: 761px)").matches;
  if (ofClusters) groups = new Groups(byId("groups"), showGroup);
  fillControls();
  listen();
  update();
  // The browser gives the focus back to the card that was opened, which is not the one that was seen last.
  dialog.addEventListener("close", () => gallery.go(Math.max(0, shown.indexOf(detail.row))));
  document.documentElement.dataset.ready = "1";
}, (error) => {
  byId("empty").hidden = false;
  byId("empty").textContent = `This page could not be unpacked: ${error.message}. A browser of 2023 or later is needed.`;
});
