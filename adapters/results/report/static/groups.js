// Clusters with pictures that show them, the surest cluster first; a click shows all pictures of one.

const GROUPS_STEP = 6;

class Groups {
  /** choose: called with the number of the group that was clicked. */
  constructor(host, choose) {
    Object.assign(this, { host, choose, shown: Math.min(GROUPS_STEP, manifest.groups.length) });
    this.fill();
  }

  show(visible) {
    this.host.hidden = !visible;
    if (visible) this.draw();
  }

  fill() {
    const lines = manifest.groups.slice(0, this.shown).map((name, group) => {
      const line = make("button", "group-line"), words = make("span", "group-words");
      line.type = "button";
      words.append(make("strong", "", name), make("span", "muted", manifest.group_words[group]));
      line.append(words, ...manifest.examples[group].map((row) => this.example(row)));
      line.addEventListener("click", () => this.choose(group));
      return line;
    });
    const left = manifest.groups.length - this.shown;
    if (left > 0) {
      const more = make("button", "", `${Math.min(left, 3 * GROUPS_STEP)} more of ${counted(left, "cluster")}`);
      more.type = "button";
      more.addEventListener("click", () => {
        this.shown = Math.min(this.shown + 3 * GROUPS_STEP, manifest.groups.length);
        this.fill();
        this.draw();
      });
      lines.push(more);
    }
    this.host.replaceChildren(...lines);
  }

  example(row) {
    const stage = make("span", "stage"), canvas = make("canvas");
    canvas.setAttribute("aria-hidden", "true");
    canvas.dataset.row = row;
    stage.append(stageContent(row), canvas);
    return stage;
  }

  draw() {
    for (const canvas of this.host.querySelectorAll("canvas")) drawOverlay(canvas, Number(canvas.dataset.row), new Set(["keypoints"]));
  }
}
