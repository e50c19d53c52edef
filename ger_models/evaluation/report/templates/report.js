(() => {
  const picker = document.getElementById("picker"), { model, split } = picker.elements;
  const parts = document.querySelectorAll("[data-model], [data-split]");
  const show = () => {
    for (const part of parts) {
      const { model: ofModel, split: ofSplit } = part.dataset;
      part.hidden = (model && ofModel && ofModel !== model.value) || (split && ofSplit && ofSplit !== split.value);
    }
    for (const row of document.querySelectorAll("[data-row]")) {
      row.classList.toggle("chosen", Boolean(model) && row.dataset.row === model.value);
    }
  };
  const follow = () => {
    const asked = location.hash && document.getElementById(location.hash.slice(1));
    if (!asked || !asked.dataset.model) return;
    if (model) model.value = asked.dataset.model;
    if (split) split.value = asked.dataset.split;
    show();
    asked.scrollIntoView();
  };
  picker.addEventListener("change", show);
  window.addEventListener("hashchange", follow);
  picker.hidden = false;
  show();
  follow();
})();
